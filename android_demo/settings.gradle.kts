// Not verified here: Gradle and its plugins come from servers that this project's tests do without. What is tested is
// the core itself, compiled by tests/android/kotlin.py from the same sources, and the types of the app (docs/android.md).
pluginManagement {
    repositories {
        google()
        mavenCentral()
        gradlePluginPortal()
    }
}

dependencyResolutionManagement {
    repositoriesMode = RepositoriesMode.FAIL_ON_PROJECT_REPOS
    repositories {
        google()
        mavenCentral()
    }
}

rootProject.name = "dsnet-demo"
include(":core", ":app")
