/** How often each endpoint may be asked, and how much may be sent to it. */
import type { EndpointName } from '#contract/endpoints.ts';
import type { Limited } from '#identity/rate-limit.ts';

export type Limit = { readonly what: Limited; readonly by: 'address' | 'principal' };

/** Endpoints without a line are reads, or acts that the use case itself bounds. */
export const limits: { readonly [K in EndpointName]?: Limit } = {
  inspectLink: { what: 'link', by: 'address' },
  startEnrolment: { what: 'link', by: 'address' },
  finishEnrolment: { what: 'link', by: 'address' },
  startSignIn: { what: 'sign_in_address', by: 'address' },
  signIn: { what: 'sign_in_address', by: 'address' },
  authorizeCli: { what: 'authorization', by: 'principal' },
  fileRequest: { what: 'request_filing', by: 'principal' },
  offerProof: { what: 'proof', by: 'principal' },
  useProof: { what: 'proof', by: 'principal' },
  makePlan: { what: 'proof', by: 'principal' },
};

const megabyte = 1_048_576;

export function mostBytesFor(name: EndpointName): number {
  return name === 'makePlan' ? 4 * megabyte : megabyte;
}
