// Draws an attribution graph: boxes on a grid, lines below them. Text enters the page as text.

const BOX = [154, 42], GAP = [14, 30], EDGE = 12, HEAD = 26;
const WIDTHS = [112, 190];
const SVG = "http://www.w3.org/2000/svg";

function make(tag, kind, text) {
  const node = document.createElement(tag);
  if (kind) node.className = kind;
  if (text !== undefined) node.textContent = text;
  return node;
}

function line(text, kind, href, tip) {
  const node = make(href ? "a" : "span", kind, text);
  if (href) node.href = href;
  if (tip) node.dataset.tip = tip;
  return node;
}

const left = (spot) => spot[0] * (BOX[0] + GAP[0]) + EDGE;
const top = (spot) => spot[1] * (BOX[1] + GAP[1]) + HEAD;

function box(one) {
  const node = make("div", `node ${one.kind}`);
  node.classList.toggle("target", one.target);
  node.style.width = `${BOX[0]}px`;
  node.style.left = `${left(one.at)}px`;
  node.style.top = `${top(one.at)}px`;
  node.dataset.tip = one.tip;
  const first = make("div", "first");
  first.append(line(one.name, "name", one.href), make("span", "value", one.value));
  const second = make("div", "second");
  if (one.label) second.append(make("span", "label", one.label));
  if (one.on) second.append(line("trace", "on", one.on));
  node.append(first, second);
  return node;
}

function curve(one, spots) {
  const [from, to] = [spots.get(one.from), spots.get(one.to)];
  const [x0, y0] = [left(from) + BOX[0] / 2, top(from)];
  const [x1, y1] = [left(to) + BOX[0] / 2, top(to) + BOX[1]];
  const half = Math.max(14, Math.abs(y0 - y1) / 2);
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", `M${x0},${y0} C${x0},${y0 - half} ${x1},${y1 + half} ${x1},${y1}`);
  path.setAttribute("stroke-width", String(1 + 7 * one.share));
  path.setAttribute("opacity", String(0.12 + 0.68 * Math.sqrt(one.share)));
  if (one.minus) path.setAttribute("stroke-dasharray", "5 4");
  path.dataset.tip = one.tip;
  return path;
}

function header(columns) {
  return columns.map((text, n) => {
    const node = make("div", "column", text);
    node.style.left = `${left([n, 0])}px`;
    node.style.width = `${BOX[0]}px`;
    return node;
  });
}

function draw(root, data) {
  const room = (root.clientWidth - EDGE) / data.columns.length - GAP[0];
  BOX[0] = Math.round(Math.min(WIDTHS[1], Math.max(WIDTHS[0], room)));
  const spots = new Map(data.nodes.map((one) => [one.id, one.at]));
  const plane = make("div", "plane");
  const width = data.columns.length * (BOX[0] + GAP[0]) + EDGE;
  const height = data.rows * (BOX[1] + GAP[1]) + HEAD;
  plane.style.width = `${width}px`;
  plane.style.height = `${height}px`;
  const lines = document.createElementNS(SVG, "svg");
  lines.setAttribute("width", width);
  lines.setAttribute("height", height);
  const paths = data.edges.map((one) => curve(one, spots));
  lines.append(...paths);
  const boxes = data.nodes.map(box);
  plane.append(lines, ...header(data.columns), ...boxes);
  root.replaceChildren(plane);
  root.scrollLeft = left(data.nodes[0].at); // the target is seen first
  boxes.forEach((node, n) => {
    const own = (one) => one.from === data.nodes[n].id || one.to === data.nodes[n].id;
    const mark = (on) => data.edges.forEach((one, e) => paths[e].classList.toggle("lit", on && own(one)));
    node.onmouseenter = () => mark(true);
    node.onmouseleave = () => mark(false);
  });
}

export default function ({ data, parentElement }) {
  const key = JSON.stringify(data);
  let root = parentElement.querySelector(".graph");
  if (!root) root = parentElement.appendChild(make("div", "drawn graph"));
  if (root.key !== key) draw(root, data);
  root.key = key;
}
