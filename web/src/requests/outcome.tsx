import { Link } from '@tanstack/react-router';
import type { RequestView } from '#contract/views.ts';
import { Notice } from '../ui/notice.tsx';
import { Ago } from '../ui/time.tsx';

/** What has become of a request, in a sentence. Nothing while it is pending. */
export function Outcome({ request }: { readonly request: RequestView }) {
  const when = request.decidedAt === null ? null : <Ago at={request.decidedAt} />;
  switch (request.state) {
    case 'pending':
      return null;
    case 'approved':
      return (
        <Notice tone="good" title={`Approved by ${request.approvals.map(({ by }) => by.handle).join(' and ')}`}>
          {when}
          {request.grant !== null && (
            <>
              {' · '}
              <Link to="/grants/$id" params={{ id: request.grant }} className="underline underline-offset-2">
                {request.you.isRequester ? 'Activate the grant when your work starts' : 'See the grant'}
              </Link>
            </>
          )}
        </Notice>
      );
    case 'denied':
      return (
        <Notice tone="warn" title={`Denied by ${request.denial?.by.handle ?? 'an approver'}`}>
          {request.denial === null ? null : `“${request.denial.word}” · `}
          {when}
        </Notice>
      );
    case 'withdrawn':
      return <Notice title="Withdrawn by the requester">{when}</Notice>;
    case 'expired':
      return <Notice title="Nobody decided in time">{when}</Notice>;
    default:
      return request.state satisfies never;
  }
}
