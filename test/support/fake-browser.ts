/** Stands for the browser in tests of the CLI (SALLY_BROWSER): opens the page it is given, as a person would, and is done. */
const [url] = process.argv.slice(2);
if (url === undefined) process.exit(2);
const page = await fetch(url);
await page.text();
