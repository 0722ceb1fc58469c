/** The examples at the end of a command's help: what it is for, then what to type. */
import type { Command } from 'commander';

export function examples(command: Command, ...list: readonly (readonly [what: string, type: string])[]): Command {
  const lines = list.flatMap(([what, type]) => [`  # ${what}`, `  $ ${type}`]);
  return command.addHelpText('after', (context) => {
    const title = context.command.createHelp().styleTitle('Examples:');
    return `\n${context.error ? 'Examples:' : title}\n${lines.join('\n')}`;
  });
}
