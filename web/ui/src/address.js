// Where the page is: whose patient its address names.

/** The patient's id in the page's address; '' on a page of no patient. */
export const patientOfPage = () => decodeURIComponent(/^\/patient\/([^/]+)/.exec(window.location.pathname)?.[1] ?? '');

export const roomPath = (patient) => `/patient/${encodeURIComponent(patient)}`;
export const replayPath = (patient, query = '') => `${roomPath(patient)}/replay${query}`;
