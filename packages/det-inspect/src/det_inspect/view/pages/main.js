// The page of det view.

import { get } from "./api.js";
import { part, report } from "./dom.js";
import { startFigures } from "./figures.js";
import { startFilters } from "./filters.js";
import { reload, startGrid } from "./grid.js";
import { startKeys } from "./keys.js";
import { startMarks } from "./marks.js";
import { startModels } from "./models.js";
import { startPicture } from "./picture.js";
import { startRuns } from "./runs.js";
import { readAddress, state } from "./state.js";
import { addTab, openTab } from "./tabs.js";

function startTabs() {
  addTab("pictures", "Pictures");
  if (state.set.models.length) addTab("figures", "Figures");
  if (state.set.runs) addTab("runs", "Runs");
  startFigures();
  startRuns();
  openTab("pictures");
  part("tabs").hidden = part("tabs").children.length < 2;
}

try {
  readAddress();
  state.set = await get("api/set");
  part("title").textContent = state.set.title;
  document.title = `${state.set.title} - det view`;
  startGrid();
  startPicture();
  startKeys();
  startModels();
  startMarks();
  startTabs();
  await reload();
  startFilters();
} catch (error) {
  report(error.message, true);
}
