import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { GrantId, PrincipalId, ResourceName, RoleName, SessionId } from '#core/ids.ts';
import type { Instant } from '#core/instant.ts';
import type { AuthorizedSession } from '#core/session.ts';
import { createSupervisor, endedMessage } from './supervisor.ts';
import type { Timers } from './timers.ts';

/** Time that stands still until it is moved. */
function createTime() {
  let now = 1_000_000;
  const waiting = new Set<{ readonly at: number; readonly run: () => void }>();
  const timers: Timers = {
    setTimer(ms, run) {
      const one = { at: now + ms, run };
      waiting.add(one);
      return { [Symbol.dispose]: () => void waiting.delete(one) };
    },
  };
  return {
    clock: { now: () => now as Instant },
    timers,
    pending: () => waiting.size,
    move(ms: number) {
      now += ms;
      for (const one of [...waiting].toSorted((a, b) => a.at - b.at))
        if (one.at <= now && waiting.delete(one)) one.run();
    },
  };
}

let count = 0;
function session(grant: string, endsAt: number, principal = 'ada'): AuthorizedSession {
  count += 1;
  const role = { name: 'orders/support-read' as RoleName, resource: 'orders' as ResourceName };
  return {
    id: `ses_${count}` as SessionId,
    grant: grant as GrantId,
    principal: { id: principal as PrincipalId, handle: principal },
    role,
    endsAt: endsAt as Instant,
  } as unknown as AuthorizedSession;
}

function watch(supervisor: ReturnType<typeof createSupervisor>, one: AuthorizedSession) {
  const seen = { marked: false, cut: undefined as string | undefined, message: '' };
  const { release } = supervisor.admit({
    session: one,
    mark: () => (seen.marked = true),
    cut: (reason, message) => {
      seen.cut ??= reason;
      seen.message = message;
      release();
      return undefined;
    },
  });
  return seen;
}

test('INVARIANT 4: a session is cut at its deadline, not a millisecond later, by its own timer', () => {
  const time = createTime();
  const supervisor = createSupervisor(time);
  const seen = watch(supervisor, session('a', 1_000_000 + 5000));
  time.move(4999);
  assert.equal(seen.cut, undefined);
  time.move(1);
  assert.equal(seen.cut, 'expired');
  assert.match(seen.message, /the time is over \(00:16Z\); ask again with `sally request orders\/support-read`/);
  assert.equal(time.pending(), 0);
});

test('INVARIANT 4: a session admitted behind its deadline, or behind the end of its grant, is cut at once', async () => {
  const time = createTime();
  const supervisor = createSupervisor(time);
  let cut = '';
  supervisor.admit({ session: session('late', 999_999), mark: () => {}, cut: (reason) => void (cut = reason) });
  assert.equal(cut, 'expired');
  await supervisor.cut({ grant: 'gone' as GrantId }, 'revoked');
  supervisor.admit({ session: session('gone', 2_000_000), mark: () => {}, cut: (reason) => void (cut = reason) });
  assert.equal(cut, 'revoked');
});

test('an extension moves the deadline, again and in both directions', () => {
  const time = createTime();
  const supervisor = createSupervisor(time);
  const seen = watch(supervisor, session('a', 1_001_000));
  supervisor.moveDeadline('a' as GrantId, 1_009_000 as Instant);
  time.move(8999);
  assert.equal(seen.cut, undefined);
  supervisor.moveDeadline('a' as GrantId, 1_005_000 as Instant);
  assert.equal(seen.cut, 'expired');
});

test('INVARIANT 8: a cut by grant reaches exactly the sessions of that grant, all marked before the first is cut', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.constantFrom('a', 'b', 'c'), { maxLength: 350 }), async (grants) => {
      const time = createTime();
      const supervisor = createSupervisor(time);
      let marked = 0;
      let markedAtFirstCut: number | undefined;
      const cut: string[] = [];
      for (const grant of grants)
        supervisor.admit({
          session: session(grant, 2_000_000),
          mark: () => (marked += 1),
          cut: () => {
            markedAtFirstCut ??= marked;
            cut.push(grant);
          },
        });
      const expected = grants.filter((grant) => grant === 'b').length;
      assert.equal(await supervisor.cut({ grant: 'b' as GrantId }, 'revoked'), expected);
      assert.ok(cut.every((grant) => grant === 'b') && cut.length === expected);
      assert.equal(markedAtFirstCut ?? 0, expected);
    }),
    { numRuns: 30 },
  );
});

test('all clients are out before the first target is closed, the one with the most time left first', async () => {
  const supervisor = createSupervisor(createTime());
  const seen: string[] = [];
  for (const endsAt of [2_000_000, 4_000_000, 3_000_000, 4_000_000])
    supervisor.admit({
      session: session('a', endsAt),
      mark: () => {},
      cut: () => {
        seen.push(`client ${endsAt / 1_000_000}`);
        return () => void seen.push('target');
      },
    });
  assert.equal(await supervisor.cut('all', 'gateway_stopped'), 4);
  assert.deepEqual(seen, ['client 4', 'client 4', 'client 3', 'client 2', ...Array(4).fill('target')]);
});

test('sessions are found by principal, resource and id, and forgotten when released', async () => {
  const supervisor = createSupervisor(createTime());
  const [one, two] = [session('a', 2_000_000, 'ada'), session('b', 2_000_000, 'bob')];
  const [first, second] = [watch(supervisor, one), watch(supervisor, two)];
  await supervisor.cut({ principal: 'ada' as PrincipalId }, 'suspended');
  assert.deepEqual([first.cut, second.cut], ['suspended', undefined]);
  assert.deepEqual(supervisor.sessions(), [two]);
  await supervisor.cut({ session: two.id }, 'revoked');
  assert.equal(await supervisor.cut({ resource: 'orders' as ResourceName }, 'revoked'), 0);
});

test('what ends through no doing of the person comes without advice to ask again', () => {
  const text = endedMessage(session('a', 0), 'control_plane_lost', 0 as Instant);
  assert.equal(
    text,
    'sallyport: your session on `orders/support-read` has ended: the gateway has lost the control plane',
  );
});
