/** A file with line numbers. The numbers are not part of what one selects and copies. */
export function SourceText({ name, text }: { readonly name: string; readonly text: string }) {
  const lines = text.replace(/\n$/, '').split('\n');
  return (
    <div
      role="region"
      aria-label={name}
      tabIndex={0}
      className="overflow-x-auto rounded-xl border border-line bg-card py-3 font-mono text-xs leading-relaxed"
    >
      {lines.map((line, index) => (
        <div key={index} className="flex w-max min-w-full">
          <span aria-hidden="true" className="w-12 shrink-0 pr-4 text-right text-faint select-none">
            {index + 1}
          </span>
          <span className="pr-4 whitespace-pre">{line === '' ? '\n' : line}</span>
        </div>
      ))}
    </div>
  );
}
