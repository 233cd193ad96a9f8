// Not verified here: see ../settings.gradle.kts.
import org.jetbrains.kotlin.gradle.dsl.JvmTarget

plugins {
    alias(libs.plugins.android.application)
    alias(libs.plugins.kotlin.android)
}

android {
    namespace = "io.github.dsnetedge.demo"
    compileSdk = 36

    defaultConfig {
        applicationId = "io.github.dsnetedge.demo"
        minSdk = 26
        targetSdk = 35
        versionCode = 1
        versionName = "1.0"
        // What both runtimes have native libraries for.
        ndk { abiFilters += listOf("arm64-v8a", "x86_64") }
    }

    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_17
        targetCompatibility = JavaVersion.VERSION_17
    }

    buildTypes {
        release {
            // For measuring, not for a shop: what can be debugged runs the core's code slower.
            signingConfig = signingConfigs.getByName("debug")
        }
    }

    // The installer reads them once, in blocks; compressed, they would only be unpacked again.
    androidResources { noCompress += listOf("tflite", "pte", "bin") }

    packaging {
        // Both runtimes may bring their C++ library.
        jniLibs { pickFirsts += "**/libc++_shared.so" }
    }
}

kotlin {
    compilerOptions { jvmTarget = JvmTarget.JVM_17 }
}

dependencies {
    implementation(project(":core"))
    implementation(libs.activity)
    implementation(libs.camera.camera2)
    implementation(libs.camera.lifecycle)
    implementation(libs.core)
    implementation(libs.executorch)
    implementation(libs.exifinterface)
    implementation(libs.lifecycle.livedata)
    implementation(libs.lifecycle.viewmodel)
    implementation(libs.litert)
}
