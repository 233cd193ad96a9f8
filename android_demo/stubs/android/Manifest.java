// Signatures written by hand for a type check (README.md): not the library's own source, never packaged.
package android;

public final class Manifest {
    public static final class permission {
        public static final String CAMERA = "android.permission.CAMERA";
    }
}
