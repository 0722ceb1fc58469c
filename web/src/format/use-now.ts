import { useEffect, useState } from 'react';
import { useContextOfApp } from '../api/context.tsx';

/** The server's time in milliseconds, looked at again every so often; it stands still while the page is hidden. */
export function useNow(everyMs: number): number {
  const { clock } = useContextOfApp();
  const [now, setNow] = useState(() => clock.now());
  useEffect(() => {
    const look = () => {
      if (document.visibilityState === 'visible') setNow(clock.now());
    };
    look();
    const timer = setInterval(look, everyMs);
    document.addEventListener('visibilitychange', look);
    return () => {
      clearInterval(timer);
      document.removeEventListener('visibilitychange', look);
    };
  }, [clock, everyMs]);
  return now;
}
