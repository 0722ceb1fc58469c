/**
 * A hold: a statement, or an act of administration, that waits for its cures. `waiting → cured → released`, or out of either
 * of the first two `denied`, `withdrawn`, `expired`, `ended`. Released is consumed by the one run that it was for.
 */
export type HoldState = 'waiting' | 'cured' | 'released' | 'denied' | 'withdrawn' | 'expired' | 'ended';
