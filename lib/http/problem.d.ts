import { IncomingMessage, ServerResponse } from 'node:http';

/** Members of a problem (RFC 9457); those that are not named here are sent as they are. */
export interface ProblemMembers {
  /** A URI of the kind of problem, default 'about:blank'. */
  type?: string | undefined;
  /** Default: the status in words. */
  title?: string | undefined;
  /** Stable, machine-readable. */
  code?: string | undefined;
  /** For the reader; never anything of the service's insides. */
  detail?: string | undefined;
  /** Seconds; sent as the header Retry-After as well. */
  retryAfter?: number | undefined;
  [name: string]: unknown;
}

/**
 * Answers with `application/problem+json` and `Cache-Control: no-store`.
 * @param status 400 to 599
 */
export function problem (res: ServerResponse, status: number, members?: ProblemMembers): void;

/**
 * What a client may know of an error: a status, and code and detail where the code is one of
 * sekering's that clients can act on. Everything else is a bare 500.
 */
export function problemOf (error: unknown): { status: number; members: ProblemMembers };

/** Express handler that answers 404. */
export function notFound (req: IncomingMessage, res: ServerResponse): void;

export interface ProblemHandlerOptions {
  /** Gets what was answered with 500; default: a process warning. */
  onError?: ((error: unknown, req: IncomingMessage) => void) | undefined;
}

/** Express middleware for what a router throws or rejects with: the last one of an application. */
export function problemHandler (options?: ProblemHandlerOptions): (
  error: unknown, req: IncomingMessage, res: ServerResponse, next: (error?: unknown) => void
) => void;
