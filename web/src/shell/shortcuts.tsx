import { Dialog } from '@base-ui/react/dialog';
import { useNavigate } from '@tanstack/react-router';
import { useEffect, useState } from 'react';
import { backdropClass, popupClass } from '../ui/confirm.tsx';

const places = {
  h: ['/', 'Home'],
  r: ['/requests', 'Requests'],
  n: ['/requests/new', 'New request'],
  g: ['/grants', 'Grants'],
  s: ['/sessions', 'Sessions'],
  l: ['/log', 'Log'],
  p: ['/people', 'People'],
} as const;

/** `g` and a letter goes somewhere, `?` lists the letters. Never while somebody types or a dialog is open. */
export function Shortcuts() {
  const navigate = useNavigate();
  const [isHelpOpen, setHelpOpen] = useState(false);
  useEffect(() => {
    let sawG = false;
    const onKey = (event: KeyboardEvent) => {
      const target = event.target instanceof Element ? event.target : undefined;
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (target?.closest('input, textarea, select, [contenteditable], [role=dialog], [role=alertdialog]')) return;
      if (event.key === '?') setHelpOpen(true);
      const place = sawG ? places[event.key as keyof typeof places] : undefined;
      sawG = !sawG && event.key === 'g';
      if (place !== undefined) void navigate({ to: place[0] });
    };
    document.addEventListener('keydown', onKey);
    return () => document.removeEventListener('keydown', onKey);
  }, [navigate]);
  return (
    <Dialog.Root open={isHelpOpen} onOpenChange={setHelpOpen}>
      <Dialog.Portal>
        <Dialog.Backdrop className={backdropClass} />
        <Dialog.Popup className={popupClass}>
          <Dialog.Title className="text-lg font-semibold">Keyboard</Dialog.Title>
          <dl className="grid grid-cols-[6rem_1fr] gap-y-2 text-sm">
            {Object.entries(places).map(([key, [, name]]) => (
              <div key={key} className="contents">
                <dt className="font-mono">g {key}</dt>
                <dd className="text-soft">{name}</dd>
              </div>
            ))}
            <dt className="font-mono">?</dt>
            <dd className="text-soft">This list</dd>
          </dl>
        </Dialog.Popup>
      </Dialog.Portal>
    </Dialog.Root>
  );
}
