// Draws examples token by token: where the feature fires (orange) and what it reads (blue). The
// data comes once; the width is switched here. Text enters the page as text, never as HTML.

const WIDTHS = [["±5", 5], ["±16", 16], ["whole", Infinity]];
const NARROW = 5;
const FLOOR = 0.05;
let width = NARROW;

// Log opacity, so that weak values are seen; full at the feature's maximum.
const opacity = (value, scale) =>
  Math.max(FLOOR, Math.log10(1 + (9 * Math.abs(value)) / (scale || 1)));

const signed = (value) => (value < 0 ? "−" : "+") + Math.abs(value).toFixed(4);

function make(tag, kind, text) {
  const node = document.createElement(tag);
  if (kind) node.className = kind;
  if (text !== undefined) node.textContent = text;
  return node;
}

function tipOf(example, at, data) {
  const lines = [`${data.exact[example.tokens[at]]}   position ${at}`];
  const act = example.acts.find(([pos]) => pos === at);
  if (act) lines.push(`activation ${signed(act[1])}`);
  else if (at === example.pos) lines.push(`pre-activation ${signed(example.act)}`);
  const source = example.sources.find(([pos]) => pos === at);
  if (source) {
    const distance = example.pos - at;
    const where = distance === 0 ? "the token itself" : `${distance} before`;
    lines.push(`gives ${signed(source[1])}, most by ${data.heads[source[2]]}, ${where}`);
  }
  return lines.join("\n");
}

function sumOf(example, data) {
  const lines = example.heads.map((value, head) => [data.heads[head], value]);
  lines.sort((a, b) => Math.abs(b[1]) - Math.abs(a[1]));
  const shown = lines.slice(0, 12);
  const rest = lines.slice(12).reduce((sum, [, value]) => sum + value, 0);
  if (lines.length > 12) shown.push([`${lines.length - 12} more`, rest]);
  shown.push(["bias", example.bias]);
  const long = Math.max(...shown.map(([name]) => name.length));
  return [
    `activation ${signed(example.act)} =`,
    ...shown.map(([name, value]) => `  ${name.padEnd(long)} ${signed(value)}`),
    `residual ${example.residual.toExponential(1)}`,
    ...(example.tenth === null ? [] : [`in tenth ${example.tenth + 1} of 10, 10 is the strongest`]),
  ].join("\n");
}

function token(example, at, data) {
  const node = make("span", "", data.texts[example.tokens[at]]);
  const act = example.acts.find(([pos]) => pos === at);
  const source = example.sources.find(([pos]) => pos === at);
  if (act) {
    node.classList.add("a");
    node.style.setProperty("--a", opacity(act[1], data.actScale));
  }
  if (source) {
    node.classList.add("s");
    if (source[1] < 0) node.classList.add("minus");
    node.style.setProperty("--s", opacity(source[1], data.srcScale));
  }
  if (at === example.pos) node.classList.add("here");
  if (at === example.from) node.classList.add("from");
  node.dataset.at = at;
  return node;
}

function tokens(kind, example, first, last, data) {
  const node = make("div", kind);
  for (let at = first; at <= last; at++) node.append(token(example, at, data));
  return node;
}

// In the narrow width the centres stand below each other, as in a concordance.
function text(example, centre, data) {
  const end = example.tokens.length - 1;
  const [first, last] = [Math.max(0, centre - width), Math.min(end, centre + width)];
  const [less, more] = [first > 0 ? "…" : "", last < end ? "…" : ""];
  if (width > NARROW) {
    const node = tokens("text", example, first, last, data);
    node.prepend(less);
    node.append(more);
    return node;
  }
  const before = tokens("", example, first, centre - 1, data);
  const after = tokens("", example, centre + 1, last, data);
  before.prepend(less);
  after.append(more);
  const node = make("div", "text kwic");
  for (const [kind, part] of [["before", before], ["centre", token(example, centre, data)], ["after", after]]) {
    node.appendChild(make("div", kind)).append(part);
  }
  return node;
}

function row(example, data) {
  const node = make("div", "one");
  const act = make("div", "act", example.act.toFixed(2));
  act.dataset.sum = "1";
  node.append(act, text(example, example.pos, data));
  if (width !== Infinity) node.append(text(example, example.from ?? example.pos, data));
  const where = make("div", "where", `${example.source} ${example.doc}`);
  where.dataset.tip = `document ${example.doc}\nfrom ${example.source}\ncontext ${example.ctx}`;
  node.append(where);
  node.example = example;
  return node;
}

function group(one, data) {
  const node = make("section", "group");
  node.dataset.kind = one.kind;
  const title = make("h3", "", one.title);
  title.append(make("small", "", one.note));
  node.append(title, ...one.examples.map((example) => row(example, data)));
  return node;
}

function toolbar(data, redraw) {
  const bar = make("div", "bar-top");
  bar.append(make("h2", "", "Examples"));
  const buttons = make("div", "switch");
  buttons.setAttribute("role", "group");
  buttons.setAttribute("aria-label", "Tokens shown around");
  for (const [name, tokens] of WIDTHS) {
    const button = make("button", "", name);
    button.type = "button";
    button.setAttribute("aria-pressed", String(tokens === width));
    button.onclick = () => { width = tokens; redraw(); };
    buttons.append(button);
  }
  bar.append(buttons);
  for (const [kind, words] of [["act", "fires"], ["src", "is read from"]]) {
    const key = make("span", "");
    key.append(make("span", `swatch ${kind}`), words);
    bar.append(key);
  }
  bar.append(make("span", "", "full colour: the maximum of this feature's examples"));
  return bar;
}

function columns() {
  const node = make("div", "cols");
  node.append(make("div", "n", "activation"), make("div", "", "where it fires"));
  if (width !== Infinity) node.append(make("div", "", "where the information comes from"));
  node.append(make("div", "where", "document"));
  return node;
}

let tip;
function tooltip(root, data) {
  const hide = () => tip?.remove();
  root.onmouseleave = hide;
  root.onmouseover = (event) => {
    hide();
    const target = event.target;
    const example = target.closest(".one")?.example;
    if (!example) return;
    let words = target.dataset.tip;
    if (target.dataset.at) words = tipOf(example, Number(target.dataset.at), data);
    if (target.dataset.sum) words = sumOf(example, data);
    if (!words) return;
    tip = make("div", "atlas-tip", words);
    document.querySelector(".stApp").append(tip);
    const box = target.getBoundingClientRect();
    const size = tip.getBoundingClientRect();
    const above = box.bottom + size.height + 8 > innerHeight;
    tip.style.left = `${Math.max(4, Math.min(box.left, innerWidth - size.width - 8))}px`;
    tip.style.top = `${above ? box.top - size.height - 6 : box.bottom + 6}px`;
  };
}

function draw(root, data) {
  root.className = width === Infinity ? "ex whole" : "ex";
  root.replaceChildren(
    toolbar(data, () => draw(root, data)),
    columns(),
    ...data.groups.map((one) => group(one, data)),
  );
  tooltip(root, data);
}

export default function ({ data, parentElement }) {
  const key = JSON.stringify(data);
  let root = parentElement.querySelector(".ex");
  if (!root) root = parentElement.appendChild(make("div"));
  if (root.key !== key) draw(root, data);
  root.key = key;
  return () => tip?.remove();
}
