import { exactParts } from '../format/exact.ts';

/** A text as it is, for those who answer for it: nothing in it is unseen, and nothing of it changes the order of the rest. */
export function Exact({ text }: { readonly text: string }) {
  return (
    <bdi>
      {exactParts(text).map((part, index) =>
        part.isUnseen ? (
          <span
            key={index}
            title="a character that can’t be seen"
            className="mx-0.5 rounded bg-warn-wash px-1 font-mono text-xs text-warn"
          >
            {part.text}
          </span>
        ) : (
          part.text
        ),
      )}
    </bdi>
  );
}
