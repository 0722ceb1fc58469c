/**
 * What other sessions tell this one by `notify`. PostgreSQL has no privilege for `listen`, so the role's channels hold in
 * the gateway only: the statement is judged when it comes, and the channel again here, before anything from it reaches the
 * client.
 *
 * INVARIANT 4: to have listened once is no way to hear what is no longer allowed.
 */
import { quoteName } from '#sql/needs.ts';
import { unknownNames, type Link } from './link.ts';

/** Channels whose verdict is kept; a session that listens to more is judged more often. */
const maxChannels = 1000;

export class Notifications {
  readonly #link: Link;
  readonly #resume: () => void;
  readonly #verdicts = new Map<string, { readonly isAllowed: boolean; readonly judgedAt: number }>();
  #waitsFor: string | undefined;
  /** How many reached the client. */
  count = 0;

  /** @param resume called when what `admit` couldn't say is known */
  constructor(link: Link, resume: () => void) {
    this.#link = link;
    this.#resume = resume;
  }

  /** Whether the client may hear of this channel; undefined: that is asked for, and nothing is to pass meanwhile. */
  admit(channel: string): boolean | undefined {
    const { judge, session } = this.#link;
    const judgedAt = judge.decidedAnew();
    const known = this.#verdicts.get(channel);
    if (known?.judgedAt === judgedAt) {
      if (known.isAllowed) this.count += 1;
      return known.isAllowed;
    }
    if (this.#waitsFor === channel) return undefined;
    this.#waitsFor = channel;
    const text = `listen ${quoteName(channel)}`;
    void judge.judge({ session, names: unknownNames, text, prepared: () => [] }).then(({ kind }) => {
      if (this.#verdicts.size >= maxChannels) this.#verdicts.clear();
      this.#verdicts.set(channel, { isAllowed: kind === 'allow', judgedAt });
      this.#waitsFor = undefined;
      this.#resume();
    });
    return undefined;
  }
}
