/** The gateway's control plane in memory, for whoever needs a gateway without a store beside the gateway's own tests. */
export { createTestingControlPlane } from '#gateway/_testing-control-plane.ts';
