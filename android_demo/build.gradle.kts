// Not verified here: see settings.gradle.kts. Plugins are loaded once for all modules.
plugins {
    alias(libs.plugins.android.application) apply false
    alias(libs.plugins.kotlin.android) apply false
    alias(libs.plugins.kotlin.jvm) apply false
}

// `gradle wrapper` writes these to gradle/wrapper/gradle-wrapper.properties, whatever Gradle it is run with.
tasks.wrapper {
    gradleVersion = "8.14.3"
    distributionSha256Sum = "bd71102213493060956ec229d946beee57158dbd89d0e62b91bca0fa2c5f3531"
}
