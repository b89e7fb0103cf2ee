// Reads a HAR file as Playwright does: a page asks for everything, and nothing else answers.
// read_har.cjs HAR URL CALLS: prints what each call of CALLS (JSON) saw, as JSON.

const { createRequire } = require("node:module");
const { chromium } = createRequire(`${process.env.NODE_MODULES}/here.cjs`)("playwright-core");

async function main([har, url, calls]) {
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM,
    args: ["--no-sandbox"],
  });
  try {
    const context = await browser.newContext();
    await context.routeFromHAR(har, { notFound: "abort" });
    const page = await context.newPage();
    await page.goto(url);
    const title = await page.title();
    const seen = await page.evaluate(async (calls) => {
      const ask = async ([path, options]) => {
        try {
          const answer = await fetch(path, options);
          const bytes = [...new Uint8Array(await answer.arrayBuffer())];
          return [answer.status, answer.headers.get("x-own"), bytes];
        } catch (error) {
          return [`${error}`];
        }
      };
      const seen = [];
      for (const call of calls) seen.push(await ask(call));
      return seen;
    }, JSON.parse(calls));
    console.log(JSON.stringify({ title, seen }));
  } finally {
    await browser.close();
  }
}

main(process.argv.slice(2)).catch((error) => {
  console.error(error);
  process.exit(1);
});
