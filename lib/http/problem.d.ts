import { IncomingMessage, ServerResponse } from 'node:http';

/** Members of a problem (RFC 9457). Further members are sent as they are. */
export interface ProblemMembers {
  /** A URI of the kind of problem, default 'about:blank'. */
  type?: string | undefined;
  /** Default: the status in words. */
  title?: string | undefined;
  /** Stable, machine-readable. */
  code?: string | undefined;
  /** For the reader. Never reveal the insides of the service. */
  detail?: string | undefined;
  /** Seconds; also sent as the header Retry-After. */
  retryAfter?: number | undefined;
  [name: string]: unknown;
}

/**
 * Answers with `application/problem+json` and `Cache-Control: no-store`.
 * @param status 400 to 599
 */
export function problem (res: ServerResponse, status: number, members?: ProblemMembers): void;

/**
 * What a client may know about an error: a status, and code and detail if it is an error of
 * sekering that clients can act on. Everything else is a bare 500.
 */
export function problemOf (error: unknown): { status: number; members: ProblemMembers };

/** Express handler that answers 404. */
export function notFound (req: IncomingMessage, res: ServerResponse): void;

export interface ProblemHandlerOptions {
  /** Gets errors that were answered with 500; default: a process warning. */
  onError?: ((error: unknown, req: IncomingMessage) => void) | undefined;
}

/** Express middleware for what a router throws or rejects with: the last one of an application. */
export function problemHandler (options?: ProblemHandlerOptions): (
  error: unknown, req: IncomingMessage, res: ServerResponse, next: (error?: unknown) => void
) => void;
