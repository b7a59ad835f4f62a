"use strict";

const element = (id) => document.getElementById(id);
let token = "";

function made(tag, name, text) {
  const node = document.createElement(tag);
  if (name) node.className = name;
  if (text !== undefined) node.textContent = text;
  return node;
}

function kind(schema) {
  if (!schema) return "";
  if (schema.enum) return schema.enum.join(" | ");
  if (schema.anyOf) return schema.anyOf.map(kind).join(" | ");
  if (schema.type === "array") return `list of ${kind(schema.items)}`;
  return schema.type || "";
}

function field(name, schema, isRequired, text) {
  const item = made("li");
  const facts = [kind(schema)];
  if (isRequired) facts.push("required");
  else if (schema.default !== undefined && schema.default !== null) facts.push(`default ${JSON.stringify(schema.default)}`);
  item.append(made("code", "", name), made("span", "quiet", ` ${facts.join(", ")}`));
  if (text) item.append(made("div", "quiet", text));
  return item;
}

function fieldsOf(operation, schemas) {
  const fields = (operation.parameters || []).map(
    (one) => field(one.name, one.schema, one.required, one.description));
  const body = operation.requestBody?.content?.["application/json"]?.schema;
  const named = body && [body, ...(body.anyOf || [])].find((one) => one.$ref);
  const schema = named && schemas[named.$ref.split("/").pop()];
  for (const [name, one] of Object.entries(schema?.properties || {})) {
    fields.push(field(`body: ${name}`, one, (schema.required || []).includes(name), one.description));
  }
  return fields;
}

function show(api) {
  const cards = Object.entries(api.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => {
      const card = made("section", "card operation");
      const title = made("h2");
      title.append(made("span", "method", method.toUpperCase()), made("code", "", path));
      card.append(title, made("p", "", operation.summary || ""));
      if (operation.security) card.append(made("p", "quiet", "needs Authorization: Bearer TV_STORE_TOKEN"));
      const list = made("ul", "parameters");
      list.append(...fieldsOf(operation, api.components?.schemas || {}));
      card.append(list);
      return card;
    }));
  element("operations").replaceChildren(...cards);
  element("state").textContent = `${cards.length} operations`;
}

async function load() {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  try {
    const answer = await fetch("/openapi.json", { headers, credentials: "omit" });
    element("sign-in").hidden = answer.status !== 401;
    const data = await answer.json();
    if (answer.ok) show(data);
    else element("state").textContent = data.detail;
  } catch {
    element("state").textContent = "the server does not answer";
  }
}

element("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  token = element("token").value.trim();
  element("token").value = "";
  load();
});
load();
