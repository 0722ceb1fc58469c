/** `sally completion`: a script for the shell, made from the commands as they are. */
import { Argument, type Command } from 'commander';
import type { Cli } from './cli.ts';
import { examples } from './examples.ts';

const shells = ['bash', 'zsh', 'fish'] as const;
type Shell = (typeof shells)[number];

export function addCompletion(program: Command, cli: Cli): void {
  examples(
    program
      .command('completion')
      .summary('a script that completes commands in your shell')
      .description('Prints a script that completes commands and flags in your shell.')
      .addArgument(new Argument('<shell>', 'which shell').choices(shells))
      .action((shell: Shell) => cli.screen.out.write(scripts[shell](treeOf(program)))),
    ['bash: in ~/.bashrc', 'source <(sally completion bash)'],
    ['zsh: in ~/.zshrc', 'source <(sally completion zsh)'],
    ['fish', 'sally completion fish > ~/.config/fish/completions/sally.fish'],
  );
}

type Node = {
  /** `` for the program, `log` or `log verify` for what is below. */
  readonly path: string;
  readonly summary: string;
  readonly commands: readonly string[];
  readonly flags: readonly { readonly long: string; readonly summary: string; readonly takesValue: boolean }[];
};

function treeOf(program: Command): readonly Node[] {
  const shared = program.options;
  const visit = (command: Command, path: string): readonly Node[] => {
    const flags = [...command.options, ...(command === program ? [] : shared)]
      .filter((option) => !option.hidden && option.long !== undefined && option.long !== null)
      .map((option) => ({
        long: option.long ?? '',
        summary: option.description,
        takesValue: option.required || option.optional,
      }));
    return [
      {
        path,
        summary: command.summary(),
        commands: command.commands.map((child) => child.name()),
        flags: [...flags, { long: '--help', summary: 'help for a command', takesValue: false }],
      },
      ...command.commands.flatMap((child) => visit(child, path === '' ? child.name() : `${path} ${child.name()}`)),
    ];
  };
  return visit(program, '');
}

const scripts: Readonly<Record<Shell, (tree: readonly Node[]) => string>> = {
  bash: (tree) => `# sally completion bash
_sally() {
  local current=\${COMP_WORDS[COMP_CWORD]} path='' word at words
  for ((at = 1; at < COMP_CWORD; at++)); do
    word=\${COMP_WORDS[at]}
    [[ $word == -- ]] && return
    [[ $word == -* ]] && continue
    case "\${path:+$path }$word" in
      ${tree
        .filter(({ path }) => path !== '')
        .map(({ path }) => quoted(path))
        .join(' | ')}) path="\${path:+$path }$word" ;;
    esac
  done
  case $path in
${tree.map(({ path, commands, flags }) => `    ${quoted(path)}) words=${quoted([...commands, ...flags.map((f) => f.long)].join(' '))} ;;`).join('\n')}
  esac
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}
complete -o default -F _sally sally
`,
  // Not `path`: in zsh that is the search path for programs.
  zsh: (tree) => `#compdef sally
_sally() {
  local command='' word
  local -a entries
  for word in \${words[2,CURRENT-1]}; do
    [[ $word == -- ]] && { _default; return }
    [[ $word == -* ]] && continue
    case "\${command:+$command }$word" in
      ${tree
        .filter(({ path }) => path !== '')
        .map(({ path }) => `(${quoted(path)})`)
        .join(' | ')
        .replaceAll(/[()]/g, '')}) command="\${command:+$command }$word" ;;
    esac
  done
  case $command in
${tree
  .map(({ path, commands, flags }) => {
    const entries = [
      ...commands.map((name) => {
        const summary = tree.find((node) => node.path === (path === '' ? name : `${path} ${name}`))?.summary ?? '';
        return quoted(`${name}:${summary.replaceAll(':', '\\:')}`);
      }),
      ...flags.map((flag) => quoted(`${flag.long}:${flag.summary.replaceAll(':', '\\:')}`)),
    ];
    return `    ${quoted(path)}) entries=(${entries.join(' ')}) ;;`;
  })
  .join('\n')}
  esac
  _describe 'sally' entries || _default
}
if [[ $funcstack[1] == _sally ]]; then _sally "$@"; else compdef _sally sally; fi
`,
  fish: (tree) => `# sally completion fish
function __sally_path
  set -l path
  for word in (commandline -opc)[2..-1]
    string match -q -- '-*' $word; and continue
    switch (string join ' ' $path $word)
      case ${tree
        .filter(({ path }) => path !== '')
        .map(({ path }) => quoted(path))
        .join(' ')}
        set -a path $word
    end
  end
  string join ' ' $path
end
function __sally_at
  test (__sally_path) = "$argv"
end
complete -c sally -e
${tree
  .flatMap(({ path, commands, flags }) => {
    const at = `complete -c sally -n ${quoted(`__sally_at ${path}`.trim())}`;
    return [
      ...commands.map((name) => {
        const summary = tree.find((node) => node.path === (path === '' ? name : `${path} ${name}`))?.summary ?? '';
        return `${at} -a ${quoted(name)} -d ${quoted(summary)}`;
      }),
      ...flags.map((f) => `${at} -l ${f.long.slice(2)}${f.takesValue ? ' -r' : ''} -d ${quoted(f.summary)}`),
    ];
  })
  .join('\n')}
`,
};

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
