"use strict";
// The page of the routes, made of openapi.json.

function element(name, text = "", children = []) {
  const made = document.createElement(name);
  made.textContent = text;
  made.append(...children);
  return made;
}

function table(rows) {
  return element("table", "", rows.map(([first, second]) =>
    element("tr", "", [element("th", "", [element("code", first)]), element("td", second)])));
}

function route(path, method, operation) {
  const made = element("section", "", [element("h2", `${method.toUpperCase()} ${path}`)]);
  made.append(element("p", operation.description || operation.summary || ""));
  if (operation.parameters) {
    made.append(element("h3", "Parameters"));
    made.append(table(operation.parameters.map((each) => [each.name, each.description || each.in])));
  }
  if (operation.requestBody) {
    made.append(element("h3", "Body"), element("p", operation.requestBody.description || ""));
    made.append(table(Object.keys(operation.requestBody.content).map((each) => [each, ""])));
  }
  made.append(element("h3", "Answers"));
  made.append(table(Object.entries(operation.responses).map(([status, each]) => [status, each.description])));
  return made;
}

fetch("openapi.json").then((response) => response.json()).then((content) => {
  for (const [path, methods] of Object.entries(content.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      document.getElementById("routes").append(route(path, method, operation));
    }
  }
});
