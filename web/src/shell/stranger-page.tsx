import { type ReactNode, useEffect } from 'react';
import { Wordmark } from '../ui/wordmark.tsx';

/** The frame of pages for somebody who isn't signed in. */
export function StrangerPage({ title, children }: { readonly title: string; readonly children: ReactNode }) {
  useEffect(() => {
    document.title = `${title} · Sallyport`;
  }, [title]);
  return (
    <main className="mx-auto flex min-h-dvh w-full max-w-md flex-col justify-center gap-8 px-5 py-12">
      <Wordmark size={28} />
      <div className="fade-in flex flex-col gap-5 rounded-2xl border border-line bg-card p-6 sm:p-8">
        <h1 className="text-xl font-semibold tracking-tight">{title}</h1>
        {children}
      </div>
    </main>
  );
}
