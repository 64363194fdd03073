// The API explorer: /openapi.json as forms that send what they show. No library; everything is text until it is shown.
"use strict";

const $ = (id) => document.getElementById(id);
let doc = null;

function el(tag, attributes, ...children) {
  const e = document.createElement(tag);
  for (const [k, v] of Object.entries(attributes || {})) {
    if (k.startsWith("on")) e.addEventListener(k.slice(2), v);
    else if (v !== undefined && v !== false) e.setAttribute(k, v === true ? "" : v);
  }
  e.append(...children.filter((c) => c !== null && c !== undefined));
  return e;
}

// A `$ref` leads to what it names.
function resolve(o) {
  for (let i = 0; o && o.$ref && i < 10; i++) {
    o = o.$ref.slice(2).split("/").reduce((at, key) => at && at[key.replace(/~1/g, "/").replace(/~0/g, "~")], doc);
  }
  return o || {};
}

// Words with `code` in them.
function rich(text) {
  return (text || "").split("`").map((part, i) => (i % 2 ? el("code", {}, part) : part));
}

// ---- an example of a schema, to begin with ----

const FORMATS = {
  "date-time": "2030-01-31T12:00:00Z", date: "2030-01-31", email: "ana@example.org", uri: "https://example.org/",
  uuid: "018f0000-0000-7000-8000-000000000001", decimal: "12.50",
};

function example(schema, depth = 0) {
  const s = resolve(schema);
  if (s.readOnly || depth > 4) return undefined;
  if (s.default !== undefined) return s.default;
  if (s.enum) return s.enum[0];
  const any = s.anyOf || s.oneOf;
  if (any) return example(any[0], depth + 1);
  const type = Array.isArray(s.type) ? s.type[0] : s.type;
  if (type === "object") {
    const o = {};
    for (const [name, inner] of Object.entries(s.properties || {})) {
      if (name.startsWith("$") || (name === "id" && depth === 0)) continue;
      const v = example(inner, depth + 1);
      if (v !== undefined) o[name] = v;
    }
    return o;
  }
  if (type === "array") {
    const v = example(s.items || {}, depth + 1);
    return v === undefined ? [] : [v];
  }
  if (type === "integer" || type === "number") return s.minimum || 0;
  if (type === "boolean") return false;
  if (type === "string") return s.contentEncoding ? "" : FORMATS[s.format] || "";
  return undefined;
}

// ---- one operation ----

function parameterField(p) {
  const s = resolve(p.schema);
  const choices = s.enum || (s.type === "boolean" ? ["true", "false"] : null);
  const input = choices
    ? el("select", { name: p.name }, p.required ? null : el("option", { value: "" }), ...choices.map((c) => el("option", {}, String(c))))
    : el("input", { name: p.name, type: s.type === "integer" ? "number" : "text", min: s.minimum, max: s.maximum, required: p.required,
        placeholder: s.default });
  input.dataset.in = p.in;
  return el("label", {}, el("span", { class: p.required && "needed" }, p.name), input, el("small", {}, ...rich(p.description)));
}

function request(form, method, path) {
  const url = new URL(path.replace(/\{(\w+)\}/g, (_, name) => encodeURIComponent(form.elements[name].value)), location.origin);
  const headers = {};
  for (const input of form.elements) {
    if (!input.name || !input.value || input.name === "body" || input.name === "type") continue;
    if (input.dataset.in === "query") url.searchParams.set(input.name, input.value);
    if (input.dataset.in === "header") headers[input.name] = input.value;
  }
  const body = form.elements.body && form.elements.body.value.trim() ? form.elements.body.value : undefined;
  if (body !== undefined) headers["Content-Type"] = form.elements.type.value;
  if ($("token").value) headers.Authorization = "Bearer " + $("token").value;
  return { url, method, headers, body };
}

const quote = (s) => "'" + s.replace(/'/g, "'\\''") + "'";

// The same by hand; the token stays out of it.
function curl(r) {
  const words = ["curl -sg"];
  if (r.method !== "GET") words.push("-X " + r.method);
  words.push(quote(r.url.href));
  for (const [k, v] of Object.entries(r.headers)) words.push("-H " + quote(k + ": " + (k === "Authorization" ? "Bearer $KOAN_TOKEN" : v)));
  if (r.headers.Authorization) words[words.length - 1] = '-H "Authorization: Bearer $KOAN_TOKEN"';
  if (r.body !== undefined) words.push("-d " + quote(r.body));
  return words.join(" ");
}

function pretty(text, type) {
  if (!/json/.test(type || "") || /ndjson/.test(type)) return text;
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

const SHOWN = ["etag", "link", "location", "x-koan-outcome", "x-koan-seq", "x-total-count", "x-total-at-least", "x-page", "retry-after",
  "x-correlation-id"];

async function send(event, form, method, path, answer) {
  event.preventDefault();
  const r = request(form, method, path);
  const button = form.querySelector("button");
  button.disabled = true;
  answer.replaceChildren(el("p", { class: "note" }, "…"));
  try {
    const a = await fetch(r.url, r);
    const text = await a.text();
    const headers = SHOWN.filter((h) => a.headers.has(h)).map((h) => h + ": " + a.headers.get(h)).join("\n");
    answer.replaceChildren(
      el("p", { class: "status " + (a.ok ? "good" : "bad") }, `${a.status} ${a.statusText}`),
      headers ? el("pre", {}, headers) : null,
      text ? el("pre", {}, pretty(text, a.headers.get("Content-Type"))) : el("p", { class: "note" }, "No body."));
  } catch (e) {
    answer.replaceChildren(el("p", { class: "status bad" }, "The node did not answer: " + e.message));
  }
  answer.append(el("h3", {}, "The same with curl"), el("pre", {}, curl(r)));
  button.disabled = false;
}

function bodyFields(op) {
  const content = resolve(op.requestBody).content;
  if (!content) return [];
  const types = Object.keys(content);
  const text = (type) => JSON.stringify(example(content[type].schema) ?? {}, null, 2);
  const first = text(types[0]);
  const area = el("textarea", { name: "body", spellcheck: "false", "aria-label": "Body", rows: Math.min(24, first.split("\n").length + 1) });
  area.value = first;
  const type = el("select", { name: "type", onchange: () => { area.value = /ndjson/.test(type.value) ? "" : text(type.value); } },
    ...types.map((t) => el("option", {}, t)));
  return [el("label", {}, "Body as ", type), area];
}

function fill(details, method, path, item, op) {
  const parameters = [...(item.parameters || []), ...(op.parameters || [])].map(resolve);
  const answer = el("div", { class: "answer", "aria-live": "polite" });
  const form = el("form", {},
    parameters.length ? el("div", { class: "fields" }, ...parameters.map(parameterField)) : null,
    ...bodyFields(op),
    el("p", {}, el("button", { type: "submit" }, "Send")));
  form.addEventListener("submit", (event) => send(event, form, method, path, answer));
  const answers = Object.entries(op.responses).map(([status, r]) =>
    el("tr", {}, el("td", {}, el("code", {}, status)), el("td", {}, ...rich(resolve(r).description))));
  details.append(el("div", { class: "inside" }, op.description ? el("p", {}, ...rich(op.description)) : null, form, answer,
    el("h3", {}, "Answers"), el("div", { class: "table" }, el("table", {}, el("tbody", {}, ...answers)))));
}

function operation(method, path, item, op) {
  const details = el("details", { class: "op", id: op.operationId },
    el("summary", {}, el("span", { class: "verb " + method.toLowerCase() }, method), el("span", { class: "path" }, path),
      el("span", { class: "what" }, op.summary || "")));
  details.dataset.text = `${method} ${path} ${op.summary} ${op.operationId}`.toLowerCase();
  details.addEventListener("toggle", () => {
    if (details.open && details.children.length === 1) fill(details, method, path, item, op);
  });
  return details;
}

// ---- the page ----

const METHODS = ["get", "post", "put", "patch", "delete"];

function show() {
  const tags = new Map();
  for (const t of [...doc.tags.slice(1), doc.tags[0]]) tags.set(t.name, el("section", { class: "tag" }, el("h2", { id: "tag-" + t.name }, t.name)));
  for (const [path, item] of Object.entries(doc.paths)) {
    for (const m of METHODS) {
      const op = item[m];
      if (op) tags.get(op.tags[0]).append(operation(m.toUpperCase(), path, item, op));
    }
  }
  $("api").replaceChildren(...tags.values());
  find();
  const named = location.hash && document.getElementById(location.hash.slice(1));
  if (named) {
    named.open = true;
    named.scrollIntoView();
  }
}

function find() {
  const words = $("find").value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const section of document.querySelectorAll(".tag")) {
    let any = false;
    for (const op of section.querySelectorAll(".op")) {
      op.hidden = !words.every((w) => op.dataset.text.includes(w));
      any = any || !op.hidden;
    }
    section.hidden = !any;
  }
}

async function load(event) {
  if (event) event.preventDefault();
  const token = $("token").value;
  sessionStorage.setItem("koan-token", token);
  try {
    const a = await fetch("/openapi.json", { headers: token ? { Authorization: "Bearer " + token } : {} });
    if (!a.ok) {
      $("state").textContent = a.status === 401 ? "This node wants its token: put it in above and load." : `The node answered ${a.status}.`;
      return;
    }
    doc = await a.json();
    $("state").textContent = `${doc.info.title} ${doc.info.version}: ${Object.keys(doc.paths).length} paths.`;
    show();
  } catch (e) {
    $("state").textContent = "The node did not answer: " + e.message;
  }
}

$("token").value = sessionStorage.getItem("koan-token") || "";
$("bar").addEventListener("submit", load);
$("find").addEventListener("input", find);
load();
