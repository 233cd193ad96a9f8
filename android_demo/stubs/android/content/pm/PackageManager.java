// Signatures written by hand for a type check (README.md): not the library's own source, never packaged.
package android.content.pm;

public abstract class PackageManager {
    public static final int PERMISSION_GRANTED = 0;
}
