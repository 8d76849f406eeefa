// Requests to the server; an error has the sentences of its answer.

export async function get(path, parameters = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== "" && value !== null && value !== undefined) query.set(name, value);
  }
  return answer(await fetch(query.size ? `${path}?${query}` : path));
}

export async function post(path, body) {
  const headers = { "Content-Type": "application/json" };
  return answer(await fetch(path, { method: "POST", headers, body: JSON.stringify(body) }));
}

async function answer(response) {
  const content = await response.json().catch(() => ({ errors: [`the server answers ${response.status}`] }));
  if (!response.ok) throw new Error((content.errors || ["unknown error"]).join("; "));
  return content;
}

// Why an address gives no picture.
export async function reason(address) {
  try {
    await get(address);
    return "the browser cannot show this picture";
  } catch (error) {
    return error.message;
  }
}
