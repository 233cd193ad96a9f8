// Not verified here: see ../settings.gradle.kts. Pure Kotlin: only the JDK and the standard library.
plugins {
    alias(libs.plugins.kotlin.jvm)
}

kotlin {
    jvmToolchain(17)
}

dependencies {
    testImplementation(libs.junit)
}

tasks.test {
    useJUnit()
    systemProperty("dsnet.tests", rootDir.resolve("../tests").canonicalPath)
}
