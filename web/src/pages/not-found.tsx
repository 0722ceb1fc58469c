import { Link } from '@tanstack/react-router';
import { StrangerPage } from '../shell/stranger-page.tsx';

export function NotFoundPage() {
  return (
    <StrangerPage title="There is no such page">
      <p className="text-sm text-soft">
        The address leads nowhere.{' '}
        <Link to="/" className="text-accent underline underline-offset-2">
          Go home
        </Link>
      </p>
    </StrangerPage>
  );
}
