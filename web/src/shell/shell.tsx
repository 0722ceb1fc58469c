/** The frame of every page for somebody signed in: a column of links, or on a phone a bar with a menu. */
import { Dialog } from '@base-ui/react/dialog';
import { useQuery } from '@tanstack/react-query';
import { Link, Outlet } from '@tanstack/react-router';
import { useState } from 'react';
import { useApi } from '../api/context.tsx';
import { meQuery } from '../api/queries.ts';
import { Wordmark } from '../ui/wordmark.tsx';
import { Account } from './account.tsx';
import { backdropClass } from '../ui/confirm.tsx';
import { Navigation } from './navigation.tsx';
import { Shortcuts } from './shortcuts.tsx';

export function Shell() {
  const me = useQuery(meQuery(useApi())).data;
  const [isMenuOpen, setMenuOpen] = useState(false);
  if (me === undefined) return null;
  return (
    <div className="min-h-dvh md:grid md:grid-cols-[15rem_1fr]">
      <a
        href="#main"
        className="sr-only z-50 rounded-lg bg-card px-4 py-2 focus:not-sr-only focus:fixed focus:top-3 focus:left-3"
      >
        Skip to the page
      </a>
      <aside className="sticky top-0 hidden h-dvh flex-col gap-8 border-r border-line px-4 py-6 md:flex">
        <Link to="/" aria-label="Sallyport, home" className="rounded-lg px-3">
          <Wordmark />
        </Link>
        <div className="flex-1 overflow-y-auto">
          <Navigation me={me} />
        </div>
        <Account me={me} />
      </aside>
      <header className="sticky top-0 z-30 flex items-center justify-between border-b border-line bg-page/95 px-4 py-2 backdrop-blur md:hidden">
        <Link to="/" aria-label="Sallyport, home" className="rounded-lg py-1.5">
          <Wordmark />
        </Link>
        <Dialog.Root open={isMenuOpen} onOpenChange={setMenuOpen}>
          <Dialog.Trigger className="min-h-10 rounded-lg px-3 text-sm font-medium hover:bg-sunken">Menu</Dialog.Trigger>
          <Dialog.Portal>
            <Dialog.Backdrop className={backdropClass} />
            <Dialog.Popup className="fixed inset-y-0 right-0 z-50 flex w-[min(19rem,85vw)] flex-col gap-6 overflow-y-auto border-l border-line bg-card px-4 py-4 shadow-xl">
              <div className="flex items-center justify-between">
                <Dialog.Title className="px-3 font-semibold">Menu</Dialog.Title>
                <Dialog.Close className="min-h-10 rounded-lg px-3 text-sm text-soft hover:bg-sunken">
                  Close
                </Dialog.Close>
              </div>
              <div className="flex-1">
                <Navigation me={me} onGo={() => setMenuOpen(false)} />
              </div>
              <Account me={me} />
            </Dialog.Popup>
          </Dialog.Portal>
        </Dialog.Root>
      </header>
      <main id="main" tabIndex={-1} className="min-w-0 px-4 py-6 outline-none sm:px-8 sm:py-10">
        <div className="mx-auto max-w-4xl">
          <Outlet />
        </div>
      </main>
      <Shortcuts />
    </div>
  );
}
