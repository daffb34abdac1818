// Draws the diagrams of a page, in the colours that it has. Only pages with diagrams load what draws them.
const diagrams = [...document.querySelectorAll(".diagram")].map((element) => ({ element, text: element.textContent }));

async function draw() {
  const dark = document.body.dataset.mdColorScheme === "slate";
  mermaid.initialize({
    startOnLoad: false,
    securityLevel: "strict",
    theme: dark ? "dark" : "neutral",
    flowchart: { nodeSpacing: 20, rankSpacing: 20, padding: 10 },
  });
  for (const [nth, { element, text }] of diagrams.entries()) {
    element.innerHTML = (await mermaid.render(`diagram-${nth}`, text)).svg;
  }
}

if (diagrams.length) {
  const script = document.createElement("script");
  script.src = new URL("mermaid.min.js", document.currentScript.src);
  script.onload = () => {
    draw();
    new MutationObserver(draw).observe(document.body, { attributeFilter: ["data-md-color-scheme"] });
  };
  document.head.append(script);
}
