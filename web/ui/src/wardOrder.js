// In which order the ward shows its patients, and which of them. Pure. `need` is the server's category (web/ward.py):
// it changes seldom, so that a row keeps its place while its numbers run.

const byBed = new Intl.Collator('en', {numeric: true, sensitivity: 'base'}); // Bed 2 before Bed 10

export const compareBeds = (a, b) => byBed.compare(a.card.bed, b.card.bed) || byBed.compare(a.id, b.id);
export const compareNeeds = (a, b) => b.need - a.need || compareBeds(a, b);

/** Rows as they are shown. @param {'need'|'bed'} by @param {string} wanted what a person typed into the search */
export function arrange(rows, by, wanted) {
  const words = wanted.toLowerCase().split(/\s+/).filter(Boolean);
  return [...rows].filter((row) => matches(row, words)).sort(by === 'bed' ? compareBeds : compareNeeds);
}

/** Every word must be part of the pseudonym, the record number, the year of birth or the bed. */
function matches({card}, words) {
  const text = `${card.pseudonym} ${card.number} ${card.born || ''} ${card.bed}`.toLowerCase();
  return words.every((word) => text.includes(word));
}

/** How many patients have an alarm of each priority that nobody has acknowledged, and how many are silent. */
export function count(rows) {
  const sum = {all: 0, 3: 0, 2: 0, 1: 0, silent: 0};
  for (const {alarm, silent, locked} of rows) {
    sum.all += 1;
    if (locked) sum[3] += 1; // counted where the row says it stands, whatever stood before
    else if (alarm?.fresh) sum[alarm.priority] += 1;
    if (silent && !locked) sum.silent += 1;
  }
  return sum;
}
