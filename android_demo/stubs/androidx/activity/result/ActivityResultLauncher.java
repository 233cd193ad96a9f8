// Signatures written by hand for a type check (README.md): not the library's own source, never packaged.
package androidx.activity.result;

public abstract class ActivityResultLauncher<I> {
    public native void launch(I input);
}
