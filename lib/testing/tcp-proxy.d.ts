export interface TcpFaults {
  /** How long each piece of data waits, both ways, ms. */
  delayMs?: number | [min: number, max: number] | undefined;
  /** Cuts the connection after so many bytes from the client. */
  cutUp?: number | undefined;
  /** Cuts it after so many bytes from the server. */
  cutDown?: number | undefined;
  /** True: cuts and refusals are resets, not ends. */
  reset?: boolean | undefined;
  /** True: cuts the connection as soon as it is made. */
  refuse?: boolean | undefined;
  /** True: discards what the server sends. */
  dropAnswers?: boolean | undefined;
  /** Ends only that direction, after its cut (default: 0 bytes). */
  halfClose?: 'up' | 'down' | undefined;
}

export interface TcpProxy {
  /** Where it listens. */
  readonly host: string;
  /** Where it listens. */
  readonly port: number;
  /** 'http://host:port', for clients that take a URL. */
  readonly url: string;
  /** How many connections there were, and how many were cut. */
  readonly counts: Record<'connections' | 'cuts', number>;
  /** Sets the faults of connections that are made from now on; they are counted from 1. */
  set (faults: TcpFaults | ((connection: number) => TcpFaults | undefined) | null): void;
  /** Cuts all open connections. */
  cutAll (): void;
  /** Stops listening, and cuts all connections. */
  close (): Promise<void>;
}

/** Starts a TCP proxy on loopback. */
export function startTcpProxy (options: {
  /** A port of this machine, host:port, or a URL. */
  target: number | string;
  /** Default: none. */
  faults?: TcpFaults | ((connection: number) => TcpFaults | undefined) | null | undefined;
  /** 0 (default) takes a free one. */
  port?: number | undefined;
  /** Default '127.0.0.1'. */
  host?: string | undefined;
}): Promise<TcpProxy>;
