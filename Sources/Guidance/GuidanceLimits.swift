/// Bounds on what a guidance may cost, so that no schema or expression from a user can exhaust the machine.
package struct GuidanceLimits: Sendable, Hashable {
    /// Bytes of the guidance's text.
    package var textBytes = 1 << 20
    /// Nesting of groups in an expression and of values in a schema.
    package var nesting = 64
    /// The largest count of a repetition, and of `maxLength`, `minItems` and their like.
    package var repetitions = 16_384
    /// States of the automaton.
    package var states = 262_144
    /// States of a part that is made deterministic when it is compiled.
    package var deterministicStates = 32_768
    /// States and edges that may be looked at to work out the mask of the first token: some tenths of a second.
    package var firstMaskWork = 50_000_000
    /// Bytes of derived states and masks that one compiled guidance keeps; beyond, it starts over.
    package var cacheBytes = 64 << 20

    package init() {}
}
