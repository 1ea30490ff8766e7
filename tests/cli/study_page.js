// Runs the scripts of a study's page in a document that is just good enough for them, steps through all passes and prints what
// it shows as JSON. Usage: node study_page.js PAGE.html QUERY
"use strict";
const fs = require("fs"), vm = require("vm");

class Element {
  constructor(tag) {
    Object.assign(this, { tag, children: [], dataset: {}, attributes: {}, className: "", own: "" });
    this.classList = {
      toggle: (name, on) => {
        const names = new Set(this.className.split(" ").filter(Boolean));
        if (on) names.add(name); else names.delete(name);
        this.className = [...names].join(" ");
      },
    };
  }
  set textContent(text) { this.own = String(text); this.children = []; }
  get textContent() { return this.own + this.children.map(child => typeof child === "string" ? child : child.textContent).join(""); }
  append(...children) {
    for (const child of children) {
      if (child === undefined || child === null) throw new Error(`<${this.tag}> gets ${child}`);
      this.children.push(child);
    }
  }
  replaceChildren(...children) { this.children = []; this.own = ""; this.append(...children); }
  setAttribute(name, value) { this.attributes[name] = value; }
  scrollIntoView() {}
  focus() {}
  *all() { for (const child of this.children) if (typeof child !== "string") { yield child; yield* child.all(); } }
  querySelector(selector) {
    const node = /^\[data-node="(.*)"\]$/.exec(selector);
    for (const each of this.all())
      if (node ? String(each.dataset.node) === node[1] : selector[0] === "." ? each.className.split(" ").includes(selector.slice(1)) : each.tag === selector)
        return each;
    return null;
  }
}

const html = fs.readFileSync(process.argv[2], "utf8");
const byId = {};
for (const match of html.matchAll(/ id="([a-z-]+)"/g)) byId[match[1]] = new Element("div");
byId.data.own = /<script type="application\/json" id="data">([\s\S]*?)<\/script>/.exec(html)[1];
byId.table.append(new Element("div"));
const document = { getElementById: id => byId[id], createElement: tag => new Element(tag), createElementNS: (space, tag) => new Element(tag) };
const context = vm.createContext({ document });
for (const match of html.matchAll(/<script>([\s\S]*?)<\/script>/g)) vm.runInContext(match[1], context);

const kinds = () => {
  const counts = {};
  for (const pair of byId.pairs.children) {
    const kind = pair.className.split(" ")[1];
    if (pair.className.startsWith("pair")) counts[kind] = (counts[kind] || 0) + 1;
  }
  return counts;
};
const shown = { passes: byId.passes.children.length, table: byId.table.textContent, steps: [] };
while (vm.runInContext("page.step", context) > 0) byId.previous.onclick();
for (let i = 0; i < shown.passes; i++) {
  shown.steps.push({ before: byId["head-before"].textContent, after: byId["head-after"].textContent, details: byId.details.textContent, kinds: kinds() });
  byId.next.onclick();
}
document.onkeydown({ key: "ArrowLeft", target: null });
shown.stepped_back = vm.runInContext("page.step", context);
byId.search.oninput({ target: { value: process.argv[3] } });
shown.found = byId.found.textContent;
const found = byId.pairs.querySelector(".found");
if (found) found.onclick();
shown.details = byId.details.textContent;
byId.only.checked = true;
byId.only.onchange();
shown.only_changed = kinds();
console.log(JSON.stringify(shown));
