// What the page uses of the vendored file, for the type checker.

export type Node = unknown;
export type Ref<T> = { current: T };
export type Setter<S> = (next: S | ((previous: S) => S)) => void;

export function html(strings: TemplateStringsArray, ...values: unknown[]): Node;
export function h(type: unknown, props: unknown, ...children: unknown[]): Node;
export function render(node: Node, parent: Element): void;
export function createContext<T>(initial: T): { Provider: unknown };
export function useState<S>(initial: S | (() => S)): [S, Setter<S>];
export function useReducer<S, A>(reducer: (state: S, action: A) => S, initial: S): [S, (action: A) => void];
export function useEffect(effect: () => void | (() => void), inputs?: unknown[]): void;
export function useLayoutEffect(effect: () => void | (() => void), inputs?: unknown[]): void;
export function useRef<T>(initial: T): Ref<T>;
export function useMemo<T>(make: () => T, inputs: unknown[]): T;
export function useCallback<F extends (...args: any[]) => any>(callback: F, inputs: unknown[]): F;
export function useErrorBoundary(report?: (error: unknown) => void): [unknown, () => void];
