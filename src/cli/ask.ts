/** Questions to the person at the terminal. Where there is none, the caller says which flag answers instead. */
import type { Cli } from './cli.ts';
import { CliError } from './exit.ts';
import { plain } from './screen.ts';

const cancelled = () => new CliError('interrupted', 'nothing was done: you left the question open');

/** One of several. */
export async function askWhich<T>(
  question: string,
  choices: readonly { readonly value: T; readonly label: string; readonly hint?: string }[],
): Promise<T> {
  // Loaded only when there is something to ask.
  const { isCancel, select } = await import('@clack/prompts');
  const chosen = await select({
    message: question,
    output: process.stderr,
    options: choices.map((choice, index) => ({
      value: index,
      label: plain(choice.label),
      ...(choice.hint === undefined ? {} : { hint: plain(choice.hint) }),
    })),
  });
  const choice = isCancel(chosen) ? undefined : choices[chosen];
  if (choice === undefined) throw cancelled();
  return choice.value;
}

/** A line of text; `check` says what is wrong with it. */
export async function askText(
  question: string,
  options: { readonly placeholder?: string; readonly check: (text: string) => string | undefined },
): Promise<string> {
  const { isCancel, text } = await import('@clack/prompts');
  const given = await text({
    message: question,
    output: process.stderr,
    ...(options.placeholder === undefined ? {} : { placeholder: options.placeholder }),
    validate: (value) => options.check(value ?? ''),
  });
  if (isCancel(given)) throw cancelled();
  return given;
}

export async function askYesNo(question: string): Promise<boolean> {
  const { confirm, isCancel } = await import('@clack/prompts');
  const given = await confirm({ message: question, output: process.stderr });
  if (isCancel(given)) throw cancelled();
  return given;
}

/** Refuses where nobody can be asked. */
export function mustAsk(cli: Cli, what: string, hint: string): void {
  if (!cli.screen.canAsk || cli.shared().json) throw new CliError('usage', what, { hint });
}
