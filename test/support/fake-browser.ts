/**
 * Stands for the browser in tests of the CLI (SALLY_BROWSER): opens the page it is given and is done. With two arguments it
 * brings the page to somebody who acts there: the first is where they listen.
 */
const [first, second] = process.argv.slice(2);
if (first === undefined) process.exit(2);
const page = await fetch(second === undefined ? first : first + encodeURIComponent(second));
await page.text();
