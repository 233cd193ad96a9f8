// Signatures written by hand for a type check (README.md): not the library's own source, never packaged.
package android.view;

public final class Display {
    public native int getDisplayId();

    public native int getRotation();
}
