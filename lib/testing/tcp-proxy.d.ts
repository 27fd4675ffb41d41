export interface TcpFaults {
  /** How long each piece of data waits, both ways, ms. */
  delayMs?: number | [min: number, max: number] | undefined;
  /** Closes the connection after so many bytes from the client. */
  cutUp?: number | undefined;
  /** Closes it after so many bytes from the server. */
  cutDown?: number | undefined;
  /** These cuts, and a refusal, are resets; otherwise connections end. */
  reset?: boolean | undefined;
  /** Cuts the connection as soon as it is there. */
  refuse?: boolean | undefined;
  /** What the server says goes nowhere. */
  dropAnswers?: boolean | undefined;
  /** Ends that direction alone, after its cut (0 bytes unless given). */
  halfClose?: 'up' | 'down' | undefined;
}

export interface TcpProxy {
  readonly host: string;
  readonly port: number;
  readonly url: string;
  /** Connections so far, and how many of them were cut. */
  readonly counts: Record<'connections' | 'cuts', number>;
  /** What happens to connections that are made from now on; they are counted from 1. */
  set (faults: TcpFaults | ((connection: number) => TcpFaults | undefined) | null): void;
  /** Cuts every connection that there is. */
  cutAll (): void;
  close (): Promise<void>;
}

/** Starts a TCP proxy on loopback. */
export function startTcpProxy (options: {
  /** A port of this machine, host:port, or an address. */
  target: number | string;
  faults?: TcpFaults | ((connection: number) => TcpFaults | undefined) | null | undefined;
  port?: number | undefined;
  host?: string | undefined;
}): Promise<TcpProxy>;
