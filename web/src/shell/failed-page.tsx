import { useRouter } from '@tanstack/react-router';
import { ErrorNotice } from '../ui/notice.tsx';
import { Wordmark } from '../ui/wordmark.tsx';

/** Shown when a page could not be shown at all. */
export function FailedPage({ error }: { readonly error: unknown }) {
  const router = useRouter();
  return (
    <main className="mx-auto flex max-w-lg flex-col gap-6 px-6 py-16">
      <Wordmark />
      <ErrorNotice error={error} onRetry={() => void router.invalidate()} />
    </main>
  );
}
