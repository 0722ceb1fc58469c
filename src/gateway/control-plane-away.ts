/** The control plane could not be asked: nothing is opened then (INVARIANT 1), and who asked is told so. */
export class ControlPlaneAway extends Error {
  readonly code = 'control_plane_away';
}

/** What was asked, or `ControlPlaneAway` when that fails or, with `withinMs`, is not answered in time. */
export async function orAway<T>(asked: Promise<T>, withinMs?: number): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = withinMs === undefined ? undefined : setTimeout(() => reject(new Error('no answer in time')), withinMs);
  try {
    return await Promise.race([asked, late]);
  } catch (cause) {
    throw new ControlPlaneAway('the control plane could not be asked', { cause });
  } finally {
    clearTimeout(timer);
  }
}
