// Where the page is: whose patient its address names; and the way to other pages.

/** The patient's id in the page's address; '' on a page of no patient. */
export const patientOfPage = () => decodeURIComponent(/^\/patient\/([^/]+)/.exec(window.location.pathname)?.[1] ?? '');

export const roomPath = (patient) => `/patient/${encodeURIComponent(patient)}`;
export const replayPath = (patient, query = '') => `${roomPath(patient)}/replay${query}`;

/** Go to another page without loading everything anew, as Dash's own links do. */
export function go(event, path) {
  if (event.metaKey || event.ctrlKey || event.shiftKey || event.button > 0) return;
  event.preventDefault();
  window.history.pushState({}, '', path);
  window.dispatchEvent(new CustomEvent('_dashprivate_pushstate'));
  window.scrollTo(0, 0);
}
