// swift-tools-version: 6.1
import CompilerPluginSupport
import PackageDescription

// Upcoming features that make existentials, imports and access explicit; every Swift target uses them.
let swift: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
]

let package = Package(
    name: "swift-vlm",
    products: [
        .library(name: "VLM", targets: ["VLM"]),
        .library(name: "VLMMacros", targets: ["VLMMacros"]),
        .executable(name: "vlm", targets: ["vlm"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-metrics", from: "2.13.0"),
        .package(url: "https://github.com/apple/swift-distributed-tracing", from: "1.7.3"),
        .package(url: "https://github.com/swiftlang/swift-syntax", from: "603.0.1"),
    ],
    targets: [
        // The arrows of the design point down only: a target depends on nothing that is listed after it.
        .target(name: "JSON", swiftSettings: swift),
        .target(name: "Extraction", dependencies: ["JSON"], swiftSettings: swift),
        .target(name: "Tensors", swiftSettings: swift),
        .target(name: "CCPUKernels"),
        .target(name: "CPUBackend", dependencies: ["CCPUKernels", "Tensors"], swiftSettings: swift),
        .target(name: "CCUDA", linkerSettings: [.linkedLibrary("dl", .when(platforms: [.linux]))]),
        .target(name: "CCUDAKernels", exclude: ["Kernels"]),
        .target(name: "CUDABackend", dependencies: ["CCUDA", "CCUDAKernels", "Tensors"], swiftSettings: swift),
        .target(
            name: "CImageCodecs",
            linkerSettings: [.linkedLibrary("jpeg"), .linkedLibrary("png"), .linkedLibrary("webp")]),
        .target(name: "CImageKernels"),
        .target(name: "CCurl", linkerSettings: [.linkedLibrary("dl", .when(platforms: [.linux]))]),
        .target(name: "Imaging", dependencies: ["CCurl", "CImageCodecs", "CImageKernels"], swiftSettings: swift),
        .target(name: "Text", dependencies: ["JSON"], swiftSettings: swift),
        .target(name: "Guidance", dependencies: ["JSON"], swiftSettings: swift),
        .target(name: "Checkpoints", dependencies: ["JSON", "Tensors"], swiftSettings: swift),
        .target(name: "Layers", dependencies: ["Checkpoints", "Tensors"], swiftSettings: swift),
        .target(
            name: "Models", dependencies: ["Checkpoints", "Imaging", "JSON", "Layers", "Tensors", "Text"], swiftSettings: swift),
        .target(
            name: "Engine",
            dependencies: ["CPUBackend", "Checkpoints", "Guidance", "Imaging", "JSON", "Layers", "Models", "Tensors", "Text"],
            swiftSettings: swift),
        .target(
            name: "VLM",
            dependencies: [
                "CPUBackend", "CUDABackend", "Checkpoints", "Engine", "Extraction", "Guidance", "Imaging", "JSON", "Layers",
                "Models",
                "Tensors",
                "Text",
                .product(name: "CoreMetrics", package: "swift-metrics"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "Tracing", package: "swift-distributed-tracing"),
            ],
            resources: [.copy("Resources/demo")], swiftSettings: swift),
        .executableTarget(
            name: "vlm",
            dependencies: [
                "CPUBackend", "CUDABackend", "Checkpoints", "Engine", "Imaging", "JSON", "Layers", "Models", "Tensors", "Text",
                "VLM",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ], swiftSettings: swift),

        // Nothing depends on the macros: they alone need swift-syntax, which takes minutes to build.
        .macro(
            name: "VLMMacroPlugin",
            dependencies: [
                .product(name: "SwiftCompilerPlugin", package: "swift-syntax"),
                .product(name: "SwiftDiagnostics", package: "swift-syntax"),
                .product(name: "SwiftSyntax", package: "swift-syntax"),
                .product(name: "SwiftSyntaxBuilder", package: "swift-syntax"),
                .product(name: "SwiftSyntaxMacros", package: "swift-syntax"),
            ], swiftSettings: swift),
        .target(name: "VLMMacros", dependencies: ["Extraction", "VLMMacroPlugin"], swiftSettings: swift),

        // What tests share: fixture paths, golden files, tolerances, seeded random data, mutators.
        .target(
            name: "TestKit", dependencies: ["Checkpoints", "JSON", "Tensors"], path: "Tests/TestKit", swiftSettings: swift),
        .testTarget(name: "JSONTests", dependencies: ["JSON", "TestKit"], swiftSettings: swift),
        .testTarget(name: "ExtractionTests", dependencies: ["Extraction", "JSON"], swiftSettings: swift),
        .testTarget(name: "CPUBackendTests", dependencies: ["CPUBackend", "Tensors", "TestKit"], swiftSettings: swift),
        .testTarget(
            name: "CUDABackendTests", dependencies: ["CCUDA", "CCUDAKernels", "CUDABackend", "Tensors", "TestKit"],
            swiftSettings: swift),
        .testTarget(name: "ImagingTests", dependencies: ["Imaging", "JSON", "TestKit"], swiftSettings: swift),
        .testTarget(name: "TextTests", dependencies: ["JSON", "Text", "TestKit"], swiftSettings: swift),
        .testTarget(name: "GuidanceTests", dependencies: ["Guidance", "JSON", "Text"], swiftSettings: swift),
        .testTarget(
            name: "CheckpointsTests", dependencies: ["Checkpoints", "JSON", "Tensors", "TestKit"], swiftSettings: swift),
        .testTarget(
            name: "ModelsTests",
            dependencies: ["CPUBackend", "Checkpoints", "Imaging", "JSON", "Layers", "Models", "Tensors", "Text", "TestKit"],
            swiftSettings: swift),
        .testTarget(
            name: "EngineTests",
            dependencies: [
                "CPUBackend", "Checkpoints", "Engine", "Guidance", "Imaging", "Layers", "Models", "Tensors", "Text", "TestKit",
            ],
            swiftSettings: swift),
        .testTarget(
            name: "VLMTests",
            dependencies: [
                "CPUBackend", "JSON", "VLM", "TestKit",
                .product(name: "CoreMetrics", package: "swift-metrics"),
                .product(name: "InMemoryLogging", package: "swift-log"),
                .product(name: "InMemoryTracing", package: "swift-distributed-tracing"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "MetricsTestKit", package: "swift-metrics"),
                .product(name: "Tracing", package: "swift-distributed-tracing"),
            ], swiftSettings: swift),
        .testTarget(
            name: "CommandTests", dependencies: ["Checkpoints", "JSON", "Tensors", "vlm", "TestKit"], swiftSettings: swift),
    ]
)

// swift-syntax takes five times as long to build in release as in debug. The tests of the macros therefore replace the others on demand,
// and scripts/test.sh builds them in debug: VLM_TESTS=macros swift build --product swift-vlmPackageTests
if Context.environment["VLM_TESTS"] == "macros" {
    package.targets.removeAll(where: \.isTest)
    package.targets.append(
        .testTarget(
            name: "VLMMacrosTests",
            dependencies: [
                "Extraction", "VLMMacroPlugin", "VLMMacros",
                .product(name: "SwiftSyntaxBuilder", package: "swift-syntax"),
                .product(name: "SwiftSyntaxMacroExpansion", package: "swift-syntax"),
                .product(name: "SwiftSyntaxMacrosGenericTestSupport", package: "swift-syntax"),
            ], swiftSettings: swift))
}
