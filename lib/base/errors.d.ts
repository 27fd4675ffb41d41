/** What sekering throws and rejects with; `code` is stable and for machines. */
export class SekeringError extends Error {
  constructor (code: string, message: string, options?: { cause?: unknown });
  readonly code: string;
}
