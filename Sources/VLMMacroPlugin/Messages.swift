import SwiftDiagnostics
import SwiftSyntax
import SwiftSyntaxBuilder
import SwiftSyntaxMacros

/// What is wrong with the code a macro is attached to.
struct Message: DiagnosticMessage {
    let id: String
    let message: String
    var severity = DiagnosticSeverity.error

    var diagnosticID: MessageID { MessageID(domain: "VLMMacros", id: id) }
}

/// What a fix-it does.
struct Fix: FixItMessage {
    let id: String
    let message: String

    var fixItID: MessageID { MessageID(domain: "VLMMacros", id: id) }
}

extension MacroExpansionContext {
    /// Reports a fault, and how to mend it.
    ///
    /// - Parameters:
    ///   - node: what is at fault.
    ///   - id: the fault's name, for tools.
    ///   - message: what is wrong, in a sentence.
    ///   - fix: what would mend it, in words.
    ///   - changes: the mending.
    func report(
        _ node: some SyntaxProtocol, _ id: String, _ message: String, fix: String? = nil, changes: [FixIt.Change] = []
    ) {
        let fixes = fix.map { [FixIt(message: Fix(id: id, message: $0), changes: changes)] } ?? []
        diagnose(Diagnostic(node: Syntax(node), message: Message(id: id, message: message), fixIts: fixes))
    }
}

extension FixIt.Change {
    /// Puts a node in the place of another, between the same spaces.
    static func replace(_ old: some SyntaxProtocol, by new: some SyntaxProtocol) -> FixIt.Change {
        var new = Syntax(new)
        new.leadingTrivia = old.leadingTrivia
        new.trailingTrivia = old.trailingTrivia
        return .replace(oldNode: Syntax(old), newNode: new)
    }
}
