import ArgumentParser
import Models

/// `vlm families`: what can be run.
struct FamiliesCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "families", abstract: "List the families of models that can be run, as a Markdown table.")

    func run() {
        print("| family | `architectures` in config.json | published forms | inputs | tested on |")
        print("|---|---|---|---|---|")
        for family in ModelRegistry.families {
            let architectures = family.architectures.map { "`\($0)`" }.joined(separator: ", ")
            let inputs = family.inputs.map(\.rawValue).joined(separator: ", ")
            print(
                "| \(family.name) | \(architectures) | \(family.formats) | \(inputs) | \(family.devicesTested.joined(separator: ", ")) |"
            )
        }
    }
}
