// The page of det view.

import { get } from "./api.js";
import { part, report } from "./dom.js";
import { startFilters } from "./filters.js";
import { reload, startGrid } from "./grid.js";
import { startKeys } from "./keys.js";
import { startPicture } from "./picture.js";
import { readAddress, state } from "./state.js";

try {
  readAddress();
  state.set = await get("api/set");
  part("title").textContent = state.set.title;
  document.title = `${state.set.title} - det view`;
  startGrid();
  startPicture();
  startKeys();
  await reload();
  startFilters();
} catch (error) {
  report(error.message, true);
}
