/**
 * Whether somebody is there. A page that keeps asking keeps its sign-in from ever being idle, so it stops asking when
 * nobody has touched it for a while, and goes on at the first touch.
 */
import { focusManager } from '@tanstack/react-query';

const awayAfterMs = 30 * 60_000;

export function watchPresence(): void {
  const away = () => focusManager.setFocused(false);
  let timer = setTimeout(away, awayAfterMs);
  const here = () => {
    clearTimeout(timer);
    timer = setTimeout(away, awayAfterMs);
    // Back to what the browser says of the page: visible or not.
    focusManager.setFocused(undefined);
  };
  for (const event of ['pointerdown', 'pointermove', 'keydown', 'wheel', 'touchstart'])
    document.addEventListener(event, here, { passive: true, capture: true });
}
