/** A gate with two doors: one open, one shut. */
export function Wordmark({ size = 22 }: { readonly size?: number }) {
  return (
    <span className="inline-flex items-center gap-2.5 text-ink">
      <svg
        width={size}
        height={size}
        viewBox="0 0 32 32"
        fill="none"
        stroke="currentColor"
        strokeWidth="2.5"
        strokeLinejoin="round"
        className="text-accent"
        aria-hidden="true"
      >
        <path d="M5 28V13a11 11 0 0 1 22 0v15" strokeLinecap="round" />
        <path d="M11 28V13.5a5 5 0 0 1 5-5V28z" fill="currentColor" />
        <path d="M21 28V13.5a5 5 0 0 0-5-5" strokeLinecap="round" />
      </svg>
      <span className="text-[1.05rem] font-semibold tracking-tight">Sallyport</span>
    </span>
  );
}
